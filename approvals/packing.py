"""A gate's view as it is stored: deflated, for most of it is the same in every view. Pure.

Stored is `{"": the view, deflated, in base64, "sentence": …, "submitter": …}`: the two others are copies of what a row
of the queue shows, so that a long queue need not open the views of all its calls. No section of a view is nameless.

What is read back is the view byte for byte, so that it is shown exactly as it was approved: `view_digest` is compared
with it before anything runs.
"""

from __future__ import annotations

import binascii
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

_PACKED = ""
_RAW = -15
_MEMORY = 6
_MOST = 64 * 1024 * 1024

# What deflate may refer to as if it stood before the view: the names and values that every view repeats, in the order
# in which they are written. It is part of the stored format and never changes; another one would need another name.
_SEEN = (
    b'{"agent":{"name":"Agent","version":1},"approvers":{"count":1,"four_eyes":true,"roles":["reviewer","admin"]},"a'
    b'rguments":[{"block":{"characters":20,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","text":"/"}]},'
    b'"format":"text","name":"path","pointer":"/path"},{"block":{"characters":3,"hidden":0,"lines":2,"masked":1,"seg'
    b'ments":[{"kind":"chip","label":"email","mark":""}]},"format":"json","name":"url","pointer":"/url"}],"change":n'
    b'ull,"file":{"added":1,"created":true,"deleted":false,"lines":[{"new":1,"old":null,"op":"+","segments":[{"kind"'
    b':"text","text":""}]},{"new":null,"old":1,"op":"-","segments":[{"kind":"text","text":""}]}],"note":"","path":{"'
    b'characters":10,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","text":""}]},"removed":0,"unchanged"'
    b':false},"file":null,"permissions":["filesystem","network"],"permissions":[],"rendering":2,"request":{"body":nu'
    b'll,"headers":[],"host":{"ascii":"","shown":{},"unusual":false},"method":"GET","port":null,"url":{"characters":'
    b'10,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","text":"https://"}]}},"request":null,"reversibil'
    b'ity":{"class":"irreversible","text":"It can\'t be taken back."},"class":"reversible","text":"It can be taken b'
    b'ack from here."},"class":"externally_reversible","text":"It can be taken back only with the help of somebody o'
    b'utside."},"reversibility":{"class":"read_only","text":"It only reads: there is nothing to take back."},"risk":'
    b'"high","risk":"medium","risk":"low","sandbox":[{"label":"May read","text":{"characters":9,"hidden":0,"lines":1'
    b',"masked":0,"segments":[{"kind":"text","text":""}]}},{"label":"May write below","text":{"characters":13,"hidde'
    b'n":0,"lines":1,"masked":0,"segments":[{"kind":"text","text":"none"}]}},{"label":"Network","text":{"characters"'
    b':14,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","text":"none"}]}},{"label":"Limits","text":{"ch'
    b'aracters":21,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","text":"5 s, 256 MB of memory"}]}}],"s'
    b'entence":{"characters":15,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","text":"Write to Fetch De'
    b'lete Read Calculate "}]},"steps":[{"detail":{"characters":40,"hidden":0,"lines":1,"masked":0,"segments":[{"kin'
    b'd":"text","text":""}]},"title":{"characters":21,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","te'
    b'xt":"read_file: succeeded"}]}}],"steps":[],"submitter":{"id":1,"name":""},"tool":{"description":"","name":""},'
    b'"version":1,"warnings":[{"kind":"irreversible","text":""}],"warnings":[],"why":{"level":"permission","permissi'
    b'ons":["filesystem"],"reason":{"characters":64,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","text'
    b'":"` needs approval: it needs the permission filesystem"}]},"rule":"permission: "why":{"level":"tenant","permi'
    b'ssions":[],"reason":{"characters":64,"hidden":0,"lines":1,"masked":0,"segments":[{"kind":"text","text":"` need'
    b's approval: the tenant\'s allow-list says to ask"}]},"rule":"allow-list: '
)


class PackedView(dict[str, Any]):
    """A view that is to be stored packed."""


def pack(view: Mapping[str, Any]) -> dict[str, Any]:
    """A view as it is stored."""
    written = json.dumps(view, sort_keys=True, separators=(",", ":")).encode()
    deflate = zlib.compressobj(wbits=_RAW, memLevel=_MEMORY, zdict=_SEEN)
    return {
        _PACKED: b64encode(deflate.compress(written) + deflate.flush()).decode("ascii"),
        "sentence": {"segments": view["sentence"]["segments"]},
        "submitter": {"name": view["submitter"]["name"]},
    }


def unpack(stored: Any) -> Any:
    """What was packed; anything else is answered as it is, and so is what can't be opened: its digest tells."""
    if not isinstance(stored, dict) or _PACKED not in stored:
        return stored
    try:
        inflate = zlib.decompressobj(wbits=_RAW, zdict=_SEEN)
        written = inflate.decompress(b64decode(stored[_PACKED], validate=True), _MOST)
        return json.loads(written) if inflate.eof else stored
    except (TypeError, ValueError, binascii.Error, zlib.error):
        return stored
