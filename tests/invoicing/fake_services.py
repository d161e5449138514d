"""Stripe Tax and the EU's VAT register as a process of its own: `python fake_services.py` prints its port.

It answers as the real ones do, from a little knowledge of its own. `POST /control` says what goes wrong next;
`GET /calls` tells what was asked.
"""

import json
import sys
import time
from decimal import ROUND_HALF_UP, Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

# What Stripe collects: (name, percent) of each tax of a place.
RATES = {
    "DE": [("VAT", "19")],
    "FR": [("VAT", "20")],
    "US-CA": [("California sales tax", "6"), ("Los Angeles sales tax", "3.5")],
}
REGISTERED = {"FR40303265045": ("SA EXAMPLE", "1 RUE DE LA PAIX\n75002 PARIS"), "ATU12345675": ("---", "---")}

calls: list[dict[str, Any]] = []
faults: list[str] = []


def calculate(asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """A tax calculation, or Stripe's refusal."""
    country, state = asked["customer_details[address][country]"], asked.get("customer_details[address][state]", "")
    if country == "US" and not asked.get("customer_details[address][postal_code]"):
        return 400, {
            "error": {"type": "invalid_request_error", "code": "customer_tax_location_invalid", "message": "?"}
        }
    items = []
    for number in range(100):
        prefix = f"line_items[{number}]"
        if f"{prefix}[amount]" not in asked:
            break
        amount = int(asked[f"{prefix}[amount]"])
        if amount <= 0:
            return 400, {
                "error": {"type": "invalid_request_error", "code": "parameter_invalid_integer", "message": "?"}
            }
        items.append(_item(asked, prefix, amount, country, state))
    return 200, {
        "object": "tax.calculation", "id": f"taxcalc_{len(calls)}", "currency": asked["currency"],
        "line_items": {"object": "list", "data": items, "has_more": False, "url": "/v1/x"},
    }  # fmt: skip


def _item(asked: dict[str, str], prefix: str, amount: int, country: str, state: str) -> dict[str, Any]:
    rates = RATES.get(f"{country}-{state}") or RATES.get(country)
    reason = "standard_rated" if rates else "not_collecting"
    if asked.get(f"{prefix}[tax_code]") == "txcd_free":
        rates, reason = None, "product_exempt"
    elif asked.get("customer_details[taxability_override]") == "customer_exempt":
        rates, reason = None, "customer_exempt"
    elif asked.get("customer_details[tax_ids][0][type]") == "eu_vat" and country != "DE":
        rates, reason = None, "reverse_charge"
    percent = sum((Decimal(each) for _, each in rates or []), Decimal(0))
    base = 100 + percent if asked[f"{prefix}[tax_behavior]"] == "inclusive" else Decimal(100)
    tax = int((amount * percent / base).quantize(Decimal(1), ROUND_HALF_UP))
    breakdown = [
        {
            "amount": 0, "taxability_reason": reason, "taxable_amount": amount,
            "tax_rate_details": details,
            "jurisdiction": {"country": country, "display_name": country, "level": "country", "state": None},
        }
        for details in (
            [{"display_name": name, "percentage_decimal": each, "tax_type": "vat"} for name, each in rates]
            if rates
            else [None]
        )
    ]  # fmt: skip
    return {
        "object": "tax.calculation_line_item", "id": "x", "reference": asked[f"{prefix}[reference]"], "amount": amount,
        "amount_tax": tax, "tax_breakdown": breakdown,
    }  # fmt: skip


def check_number(asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """The register's answer."""
    found = REGISTERED.get(asked["countryCode"] + asked["vatNumber"])
    name, address = found or ("---", "---")
    proof = "WAPI-7" if found and asked.get("requesterNumber") else ""
    return 200, {
        "countryCode": asked["countryCode"], "vatNumber": asked["vatNumber"], "valid": found is not None, "name": name,
        "address": address, "requestIdentifier": proof, "requestDate": "2025-03-01T12:00:00Z",
    }  # fmt: skip


class Services(BaseHTTPRequestHandler):
    """Both services, and what controls them."""

    def do_GET(self) -> None:
        """What was asked so far."""
        self._answer(200, calls)

    def do_POST(self) -> None:
        """Answer, or go wrong as told."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/control":
            calls.clear()
            faults[:] = json.loads(body)
            return self._answer(200, {})
        is_stripe = self.path == "/v1/tax/calculations"
        asked = dict(parse_qsl(body)) if is_stripe else json.loads(body)
        calls.append({"path": self.path, "key": self.headers.get("Authorization", ""), **asked})
        match faults.pop(0) if faults else "":
            case "slow":
                time.sleep(2)
            case "cut":
                self.connection.close()
                return None
            case "down":
                return self._answer(503, {"error": {"type": "api_error", "message": "down"}})
            case "nonsense":
                return self._answer(200, ["?"])
            case "ms_unavailable":
                return self._answer(500, {"actionSucceed": False, "errorWrappers": [{"error": "MS_UNAVAILABLE"}]})
            case "user_error":
                return self._answer(200, {"valid": False, "userError": "MS_MAX_CONCURRENT_REQ"})
        return self._answer(*(calculate(asked) if is_stripe else check_number(asked)))

    def _answer(self, status: int, said: object) -> None:
        content = json.dumps(said).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # Who asked has given up.

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Services)
    print(server.server_port, flush=True)
    sys.exit(server.serve_forever())
