"""MedQuAD: questions and answers of the NIH, as its XML folders or as JSONL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from medssr.errors import InputError
from medssr.knowledge.corpora.cleaning import Cleaning
from medssr.knowledge.corpora.documents import DocumentCorpus, Passage
from medssr.knowledge.corpora.named_fields import JsonlCorpus
from medssr.utils.text_files import is_folder

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Names of the same thing in the files of different institutes, in small letters.
_ID = ("id", "docid", "fid")
_SOURCE = ("source", "corpus")
_FOCUS = ("focus", "doctitle-focus")
_PAIR = ("qapair", "pair")


class MedQuadCorpus(DocumentCorpus):
    """MedQuAD, one answer a document, titled by the disease or drug that it is about.

    An answer's id is "<source>_<id of its file>_Sec<number of the pair>", as in MedQuAD's own relevance judgements.
    Many answers are empty in the published files, for reasons of copyright; they are counted as empty documents.

    Attributes:
        path: The folder of XML files, subfolders included; or a JSONL file of doc_id, focus, synonyms, answer, source.
        max_chars: See `DocumentCorpus`.
        cleaning: See `DocumentCorpus`.
    """

    def __init__(self, path: Path | str, max_chars: int | None, cleaning: Cleaning | None) -> None:
        super().__init__(max_chars, cleaning)
        self.path = Path(path)

    def documents(self) -> Iterator[Passage]:
        """Yields the answers in the order of the file names.

        Raises:
            InputError: When there is nothing to read, a file is no well-formed XML or declares entities or a document
                type, or an XML file lacks its source. JSONL: see `JsonlCorpus`.
        """
        if not is_folder(self.path):
            fields = ("doc_id", "focus", "answer", "source")
            yield from JsonlCorpus(self.path, *fields, max_chars=None, synonyms_field="synonyms").documents()
            return
        files = sorted(self.path.rglob("*.xml"))
        if not files:
            raise InputError.at(self.path, 'the folder holds no file "*.xml"; give MedQuAD\'s folder or a JSONL file.')
        names: set[str] = set()
        for file in files:
            yield from _answers(_parse(file), file, names)


def _parse(file: Path) -> Element:
    """Returns the root element. Entities are refused, so that a file can neither read others nor swell."""
    import defusedxml.ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        root: Element = defusedxml.ElementTree.parse(file, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise InputError.at(file, "declares a document type or entities, which is refused; remove them.") from error
    except defusedxml.ElementTree.ParseError as error:
        raise InputError.at(file, f"is no well-formed XML ({error}).") from error
    return root


def _answers(root: Element, file: Path, names: set[str]) -> Iterator[Passage]:
    """Yields the answers of one file.

    Args:
        root: The file's root element.
        file: The file.
        names: The names "<source>_<id>" of earlier files; this file's is added.
    """
    source = next((root.get(key) for key in _SOURCE if root.get(key)), None)
    if source is None:
        problem = f"the root element <{root.tag}> does not say where it is from; is this a file of MedQuAD?"
        raise InputError.at(file, problem, field="source")
    # In CancerGov several files carry one id; their file names differ.
    identifiers = [*(root.get(key) for key in _ID), file.stem, file.with_suffix("").as_posix()]
    name = next(name for key in identifiers if key and (name := f"{source}_{key}") not in names)
    names.add(name)
    focus = next(iter(_texts(root, _FOCUS)), "")
    synonyms = tuple(dict.fromkeys(_texts(root, ("synonym",))))
    pairs = [element for element in root.iter() if element.tag.lower() in _PAIR]
    numbers = [pair.get("pid", "") for pair in pairs]
    if "" in numbers or len(set(numbers)) < len(numbers):
        numbers = [str(number) for number in range(1, len(pairs) + 1)]
    for number, pair in zip(numbers, pairs, strict=True):
        title = focus or next(iter(_texts(pair, ("question",))), file.stem)
        yield Passage(f"{name}_Sec{number}", title, "\n".join(_texts(pair, ("answer",))), source, synonyms)


def _texts(element: Element, tags: tuple[str, ...]) -> list[str]:
    """Returns the texts, not empty, of all elements below with one of the tags, in any case."""
    texts = ("".join(child.itertext()).strip() for child in element.iter() if child.tag.lower() in tags)
    return [text for text in texts if text]
