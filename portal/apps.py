"""The portal's Django app: it has no tables."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The customers' door."""

    name = "portal"
    label = "portal"
