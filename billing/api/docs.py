"""The API about itself: its OpenAPI document, the reference page, and what each error code means."""

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.base import PublicView
from billing.api.errors import Problem
from billing.api.problems import KINDS

TAGS = ["About"]


class ProblemKind(serializers.Serializer[dict[str, object]]):
    """One error code."""

    code = serializers.CharField()
    status = serializers.IntegerField()
    title = serializers.CharField()
    meaning = serializers.CharField()


class Problems(PublicView):
    """Every error code."""

    @extend_schema(
        operation_id="list_problems", summary="List error codes", tags=TAGS, responses={200: ProblemKind(many=True)}
    )
    def get(self, request: Request) -> Response:
        """Every code that a problem document may have."""
        return Response([_document(code) for code in KINDS])


class OneProblem(PublicView):
    """One error code; the `type` of a problem document leads here."""

    @extend_schema(operation_id="get_problem", summary="Read an error code", tags=TAGS, responses={200: ProblemKind})
    def get(self, request: Request, code: str) -> Response:
        """What one code means."""
        if code not in KINDS:
            raise Problem("not_found")
        return Response(_document(code))


def _document(code: str) -> dict[str, object]:
    kind = KINDS[code]
    return {"code": code, "status": kind.status, "title": kind.title, "meaning": kind.meaning}


class Schema(SpectacularJSONAPIView):
    """The OpenAPI 3.1 document, for everybody."""

    authentication_classes = []
    permission_classes = []


# Swagger's buttons are drawn with images that stand in its stylesheet.
@method_decorator(csp_update({"img-src": ["data:"]}), name="dispatch")
class Reference(SpectacularSwaggerSplitView):
    """The reference page; all its scripts and styles are files of this site, as the CSP demands."""

    authentication_classes = []
    permission_classes = []
    url_name = "api-schema"
    template_name = "api/docs.html"


class Nothing(PublicView):
    """Any other address."""

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Whatever the method, there is nothing here."""
        raise Problem("not_found")
