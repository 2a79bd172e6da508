"""Makes Python 3 of the installed suite, which is written for Python 2.

fissix (2to3) translates the syntax. What is left are bytes: strings of Python 2 hold them, and the payloads of the cases are such
strings. They stay strings, of one character for each byte (latin-1), and fuzz.py converts them where they go to autobahn and come from
it. So no case is written anew; the edits below are all there are, and each must be found as often as it says.
"""

import importlib.util
import pathlib
import re
import sys

from fissix.refactor import RefactoringTool, get_fixers_from_package

# Where, what, by what, how often.
EDITS = [
    # Modes of the suite that are not used here, and a case that is in none of its lists.
    ("__init__.py", r"(?ms)^import choosereactor.*?^import massconnect\s", "", 1),
    ("case/__init__.py", r"from case9_9_1 import \*\n", "", 1),
    # Hexadecimal is for people to read.
    ("fuzzing.py", r"binascii\.b2a_hex\((.*?)\)", r"hexed(\1)", 5),
    ("fuzzing.py", r"(?m)^import os, json,", "from autobahntestsuite.strings import hexed\n\\g<0>", 1),
    ("fuzzing.py", r"return dd\.decode\(", "return dd.encode('latin-1').decode(", 1),
    ("case/case7_5_1.py", r"binascii\.b2a_hex\((.*?)\)", r"\1", 1),
    ("case/case6_*.py", r"binascii\.b2a_hex\(", "hexed(", 22),
    ("case/case6_*.py", r"(?m)^import binascii", "from autobahntestsuite.strings import hexed\n\\g<0>", 12),
    # What asks for bytes.
    ("case/case6_x_x.py", r"v\.validate\(vss\[:i\]\)", "v.validate(vss[:i].encode('latin-1'))", 1),
    ("case/case12_x_x.py", r"def onMessage\(self, msg, binary\):\n", "\\g<0>   msg = msg.encode('latin-1')\n", 1),
    # Every class is an object in Python 3.
    ("case/*.py", r"\(object, Case, \)", "(Case, )", 6),
    # Pickles differ with the identity of equal objects.
    ("case/case.py", r"pickle\.dumps\(obj1\) == pickle\.dumps\(obj2\)", "obj1 == obj2", 1),
    ("case/case10_1_1.py", r"len\(self\.payload\) / ", "len(self.payload) // ", 1),
]
STRINGS = '''def hexed(data):
    """The bytes, or the string that stands for them, in hexadecimal."""
    return (data.encode("latin-1") if isinstance(data, str) else data).hex()
'''


def main() -> None:
    # Found, not imported: it cannot be yet.
    package = pathlib.Path(importlib.util.find_spec("autobahntestsuite").origin).parent
    wanted = ["__init__.py", "_version.py", "caseset.py", "fuzzing.py", "report.py", "case/*.py"]
    # What a Python 2 makes of a source: its strings are the bytes of the file.
    sources = {path: path.read_text("latin-1") for name in wanted for path in sorted(package.glob(name))}
    for where, what, by, often in EDITS:
        found = 0
        for path in package.glob(where):
            sources[path], count = re.subn(what, by, sources[path])
            found += count
        if found != often:
            sys.exit(f"autobahn: port.py: {what} is in {where} {found} times, not {often}: the suite has changed")
    tool = RefactoringTool(get_fixers_from_package("fissix.fixes"))
    for path, source in sources.items():
        source = re.sub(r"coding: *utf-?8", "coding: latin-1", source)
        if "coding: latin-1" not in source:
            source = "# coding: latin-1\n" + source
        path.write_bytes(str(tool.refactor_string(source + "\n", str(path))).encode("latin-1"))
    (package / "strings.py").write_text(STRINGS)


main()
