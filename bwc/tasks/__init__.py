"""Celery, thin: a message carries a job's id, the job table is the truth, the acts live below."""
