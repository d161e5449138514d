"""`manage.py make_roles`: the groups pricing, finance and support."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from billing.accounts import roles


class Command(BaseCommand):
    """Make the staff roles that are missing, or give all of them back the rights they begin with. Repeatable."""

    help = "Make the staff groups Pricing, Finance and Support where they are missing (migrate does it too)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to vary."""
        parser.add_argument("--reset", action="store_true", help="also undo what staff changed in their rights")

    def handle(self, *args: Any, **options: Any) -> str:
        """Make them; say what was done."""
        with transaction.atomic():
            done = roles.ensure(reset=options["reset"])
        lines = [f"{role.name}: {role.purpose}" for role in roles.ROLES]
        return "\n".join([*lines, f"Made: {', '.join(done)}." if done else "All three are there; nothing was changed."])
