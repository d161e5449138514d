"""Documents as PDF: data laid out by a Typst template beside this file.

Texts reach a template as data, so none of them can act as markup. Nothing is fetched, and no font is needed beyond
those that Typst carries; FLORIN_FONTS names a folder of more, for scripts that those do not have. The same data gives
the same bytes.
"""

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import facturx
import typst
from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from lxml import etree
from pypdf import PdfWriter
from pypdf.generic import StreamObject

from billing.invoicing.lettering import printable

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_EXTENSIONS = "{http://www.aiim.org/pdfa/ns/extension/}schemas"


def render(template: str, document: dict[str, Any], *, issued_at: datetime, machine: bytes | None = None) -> bytes:
    """The document as a PDF/A-3b that carries `machine`, its e-invoice, if there is one, as Factur-X has it; without
    it a PDF/A-2b. Where a text has signs of no font, a plain PDF that shows boxes for them."""
    common = {
        "language": (get_language() or "en").split("-")[0],
        "page": _("Page {page} of {pages}"),
        "machine": None if machine is None else machine.decode(),
    }
    coin = (settings.BASE_DIR / "static" / "florin" / "coin.svg").read_text()
    said = {**common, **printable(document)}
    path = Path(__file__).with_name(f"{template}.typ")
    options: dict[str, Any] = {
        "sys_inputs": {"document": json.dumps(said), "coin": coin},
        "font_paths": [settings.FLORIN_FONTS] if settings.FLORIN_FONTS else [],
        "ignore_system_fonts": True,
        "timestamp": int(issued_at.timestamp()),
    }
    try:
        pdf = typst.compile(path, format="pdf", pdf_standards="a-2b" if machine is None else "a-3b", **options)
    except typst.TypstError:
        # An archivable PDF refuses signs that no font has; a plain one shows a box for them.
        pdf = typst.compile(path, format="pdf", **options)
    return pdf if machine is None else _declare_factur_x(pdf)


def _declare_factur_x(pdf: bytes) -> bytes:
    """Say in the PDF's metadata that its attachment is a Factur-X invoice, and describe the words that say so."""
    writer = PdfWriter(clone_from=io.BytesIO(pdf))
    stream = writer.root_object["/Metadata"].get_object()
    assert isinstance(stream, StreamObject)  # noqa: S101
    stream.set_data(_with_factur_x(stream.get_data()))
    writer.pdf_header = "%PDF-1.7"
    kept = io.BytesIO()
    writer.write(kept)
    return kept.getvalue()


def _with_factur_x(packet: bytes) -> bytes:
    """An XMP packet with the words of Factur-X among its own."""
    begins, ends = packet.index(b"<x:xmpmeta"), packet.index(b"<?xpacket end")
    own = etree.fromstring(packet[begins:ends])
    words = facturx.facturx.generate_xmp_object(
        {
            "pdfa3_flavor": "B", "title": "", "author": "", "subject": "", "producer": "", "creator_tool": "",
            "timestamp": "", "version": "1.0", "documenttype": "INVOICE", "xml_filename": "factur-x.xml",
            "xmp_level": "EN 16931", "urn": "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#",
        }
    )  # fmt: skip
    described, said = words.findall(f".//{{{_RDF}}}Description")[-2:]
    said.set(f"{{{_RDF}}}about", "")
    bag = own.find(f".//{_EXTENSIONS}/{{{_RDF}}}Bag")
    if bag is None:
        described.set(f"{{{_RDF}}}about", "")
        own.find(f".//{{{_RDF}}}RDF").append(described)
    else:
        bag.extend(list(described.find(f".//{_EXTENSIONS}/{{{_RDF}}}Bag")))
    own.find(f".//{{{_RDF}}}RDF").append(said)
    return packet[:begins] + etree.tostring(own) + packet[ends:]
