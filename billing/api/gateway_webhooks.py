"""`/gateways/{gateway}/webhook`: where payment gateways report. A signature takes the place of a key."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import throttles
from billing.api.base import PublicView
from billing.api.errors import Problem
from billing.api.parsing import refuse_unstorable
from billing.payments import webhooks
from billing.payments.gateways.contract import InvalidWebhook, NoGateway


class GatewayWebhook(PublicView):
    """What a gateway tells by itself."""

    http_method_names = ["post"]

    @extend_schema(exclude=True)
    def post(self, request: Request, gateway: str) -> Response:
        """Keep the report and act upon it. 200 once it is kept, also for the second time; the gateway need not repeat
        it then, whatever becomes of it."""
        body = request._request.body
        refuse_unstorable(body)
        try:
            webhooks.receive(gateway_name=gateway, headers=request.headers, body=body, now=timezone.now())
        except NoGateway:
            raise Problem("not_found") from None
        except InvalidWebhook as error:
            throttles.take((throttles.WRONG_SIGNATURES, throttles.client_of(request._request)), now=timezone.now())
            raise Problem("invalid_signature", str(error)[:200]) from None
        return Response({})
