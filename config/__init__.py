"""The installation: settings, web, worker and beat processes, and the servers embedded for the demo and tests."""

# Imported with the package, so that every process that has settings also has the app that tasks bind to.
from config.celery import app as celery_app

__all__ = ["celery_app"]
