"""Entry of the web server: `gunicorn wsgi:app`. Adds the CCTV centre to the application."""

from bwc.app import create_app
from integration_cpu import integrate

app = create_app()
integrate(app)
