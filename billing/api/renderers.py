"""Writing JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rest_framework.renderers import BaseRenderer

_encoder = msgspec.json.Encoder()


class PlainJSONRenderer(BaseRenderer):
    """JSON as UTF-8. Serializers have written decimals and times as strings already."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """The document."""
        return _encoder.encode(data)
