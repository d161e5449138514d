"""Bank statements as files."""

import io
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from billing.payments import transfer_files
from billing.payments.models import BankTransfer, Payment
from billing.payments.transfer_files import Imported, Reading, Refused, UnusableFile
from tests.factories import NOW

GERMAN = """\ufeff"Tag";"Betrag";"Auftraggeber";"Zweck"
01.03.2025;1.190,00;Northwind;Rechnung INV-000001
01.03.2025;50,00;Someone;
01.03.2025;50,00;Someone;
02.03.2025;-20,00;Landlord;Rent

02.03.2025;abc;Someone;
2025-13-01;1,00;Someone;
"""
COLUMNS = {"received_on": "Tag", "amount": "Betrag", "payer": "Auftraggeber", "remittance": "Zweck"}
READING = Reading(COLUMNS, "EUR", decimal_comma=True)


def load(text: str, reading: Reading = READING) -> Imported:
    return transfer_files.import_file(io.StringIO(text, newline=""), reading=reading, actor="test", now=NOW)


def test_a_statement_is_read_once_and_pays_what_it_names(invoice):
    refused = [Refused(7, "'abc' is no amount"), Refused(8, "'2025-13-01' is no day")]
    assert load(GERMAN) == Imported(new=3, outgoing=1, payments=1, refused=refused)
    assert load(GERMAN) == Imported(known=3, outgoing=1, refused=refused)
    assert list(BankTransfer.objects.order_by("pk").values_list("amount", "amount_matched")) == [
        (1190, 1190), (50, 0), (50, 0),
    ]  # fmt: skip
    invoice.refresh_from_db()
    assert invoice.state == "paid"


def test_the_banks_reference_tells_a_row_from_another(db):
    rows = ('r1,2025-03-01,"1,000.50",eur', "r1,2025-03-01,2,EUR", "r2,2025-03-01,1,EURO")
    text = "\n".join(("reference,received_on,amount,currency", *rows))
    done = load(text, Reading())
    assert (done.new, done.known) == (1, 0)
    assert done.refused[0] == Refused(3, "another transfer has this reference")
    assert done.refused[1].line == 4
    assert BankTransfer.objects.get().amount == Decimal("1000.50")


@pytest.mark.parametrize("text", ["", "a,b\n", "amount\n1\n", "received_on,amount\n"])
def test_a_file_without_the_columns_is_refused_as_a_whole(db, text):
    with pytest.raises(UnusableFile, match="columns are missing"):
        load(text, Reading())
    assert not BankTransfer.objects.exists()


@pytest.mark.parametrize("amount", ["1,23", "1.2.3", "NaN", "1e3", "", "1,2345", "12,34.5", "--1", "1.005"])
def test_an_amount_in_doubt_is_no_amount(db, amount):
    done = load(f'received_on;amount\n2025-03-01;"{amount}"\n', Reading(currency="EUR"))
    assert len(done.refused) == 1
    assert not BankTransfer.objects.exists()


def statement(*rows: str, header: str = "received_on;amount;Richtung;remittance") -> str:
    return "\n".join((header, *rows))


@pytest.mark.parametrize(
    ("direction", "comes_in"),
    [*((word, True) for word in ("C", "H", "credit", "in")), *((word, False) for word in ("D", "S", "debit", "DBIT"))],
)
def test_the_direction_of_a_row_decides_whether_it_pays(invoice, direction, comes_in):
    text = statement(f"2025-03-01;1190.00;{direction};INV-000001")
    done = load(text, Reading({"direction": "Richtung"}, "EUR"))
    assert (done.new, done.payments, done.outgoing, done.refused) == (comes_in, comes_in, not comes_in, [])
    assert BankTransfer.objects.count() == comes_in


@pytest.mark.parametrize(
    "row", ["1190.00;sideways", "1190.00;red", "-1190.00;C", "1190.00 S;C", "1190.00 XY;", "1190.00 D;H"]
)
def test_a_row_whose_direction_is_not_understood_pays_nothing(invoice, row):
    done = load(statement(f"2025-03-01;{row};INV-000001"), Reading({"direction": "Richtung"}, "EUR"))
    assert (len(done.refused), done.payments, BankTransfer.objects.count()) == (1, 0, 0)


@pytest.mark.parametrize("amount", ["1190.00 S", "1190.00-", "(1190.00)", "-1190.00", "1,190.00 dr", "1190.00D"])
def test_money_out_may_be_told_by_what_stands_at_the_amount(invoice, amount):
    done = load(f'received_on;amount;remittance\n2025-03-01;"{amount}";INV-000001', Reading(currency="EUR"))
    assert (done.outgoing, done.refused, BankTransfer.objects.count()) == (1, [], 0)


def test_two_columns_of_amounts_tell_the_direction(invoice):
    header = "received_on;amount;Soll;Haben;remittance"
    rows = (
        "1,00;1190,00;;INV-000001",
        "1,00;;1190,00;INV-000001",
        "1,00;0,00;5,00;",
        "1,00;-7,00;;",
        "1,00;2,00;2,00;",
    )
    text = statement(*(f"2025-03-01;{row}" for row in rows), header=header)
    done = load(text, Reading({"debit": "Soll", "credit": "Haben"}, "EUR", decimal_comma=True))
    assert (done.new, done.outgoing, done.payments, [row.line for row in done.refused]) == (2, 2, 1, [6])


@pytest.mark.parametrize(
    ("header", "said"),
    [("received_on;amount;Art;remittance", "S"), ("received_on;amount;Debit/Credit;remittance", "?"),
     ("received_on;amount;S/H;remittance", ""), ("received_on;amount;Typ;remittance", "Debit")],
)  # fmt: skip
def test_a_file_that_may_say_the_direction_elsewhere_is_refused_as_a_whole(invoice, header, said):
    text = statement("2025-03-01;1190.00;;INV-000001", f"2025-03-01;1190.00;{said};INV-000001", header=header)
    with pytest.raises(UnusableFile, match="which way the money went"):
        load(text, Reading(currency="EUR"))
    assert not BankTransfer.objects.exists()
    assert load(text, Reading(currency="EUR", is_signed=True)).new == 2


def run(tmp_path, text: str, *options: str) -> str:
    file, out = tmp_path / "statement.csv", io.StringIO()
    file.write_text(text)
    call_command("import_transfers", str(file), *options, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_command_says_how_it_went(tmp_path, invoice):
    options = ["--currency=EUR", "--decimal-comma", *(f"--column={ours}={theirs}" for ours, theirs in COLUMNS.items())]
    fine = "".join(GERMAN.splitlines(keepends=True)[:5])
    assert run(tmp_path, fine, *options) == "3 new, 0 known, 1 going out, 0 refused; 1 payments made\n"
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, GERMAN, *options)
    assert ended.value.code == 3
    assert Payment.objects.count() == 1


@pytest.mark.parametrize("options", [["--encoding=nonsense"], [], ["--column=nothing=x"]])
def test_the_command_refuses_what_it_cannot_use(tmp_path, db, options):
    with pytest.raises(CommandError):
        run(tmp_path, GERMAN, *options)
    assert not BankTransfer.objects.exists()
