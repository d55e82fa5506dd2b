"""What `celery -A bwc.tasks.worker` loads: the application of the installation the environment names."""

from bwc.logs import configure_logs
from bwc.settings import Settings
from bwc.tasks.celery import make_celery

configure_logs()
app = make_celery(Settings())
