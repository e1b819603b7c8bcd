"""The ConnectWise companies whose names match a Phin company's. Pure: no network, database or clock.

A name is reduced step by step: letter case, punctuation, legal form, abbreviations. Two names that meet at a step
differ in nothing but what the steps so far removed; the first step where they meet is the reason. Only if no name
meets, the ConnectWise identifier is tried, then single slips of the keyboard, then initials. A different word is a
different company ("Northside", "Southside"), for guessing wrong is worse than not guessing.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Literal

from rapidfuzz import process
from rapidfuzz.distance import OSA

Reason = Literal["exact", "case", "punctuation", "legal_form", "abbreviation", "identifier", "similar", "initials"]

SCORES: dict[Reason, float] = {
    "exact": 100,  # the same name, character for character
    "case": 97,  # but for capitals
    "punctuation": 95,  # but for punctuation, blanks, accents, invisible characters, "&" or "and"
    "legal_form": 90,  # but for Inc, LLC, GmbH, The …
    "abbreviation": 85,  # but for Mfg, Intl, St …
    "identifier": 80,  # the name is the company's identifier in ConnectWise
    "similar": 75,  # at most: 75 times how similar
    "initials": 60,  # one name is the initials of the other
}

LEGAL_FORMS = (
    "inc|incorporated|corp|corporation|co|company|llc|lllp|llp|lp|ltd|limited|pllc|plc|pc|pa|pty|pte|pvt|pl|ulc|"
    "limited liability company|limited liability partnership|limited partnership|public limited company|"
    "professional corporation|professional limited liability company|proprietary limited|private limited|"
    "gmbh|mbh|ag|kg|kgaa|ohg|ug|ek|ev|sa|sas|sarl|sl|srl|spa|sa de cv|cv|ltda|bv|nv|vof|"
    "as|asa|aps|ab|oy|oyj|sro|kft|sp z oo|sdn bhd|kk"
)

ABBREVIATIONS = """
acad=academy acct=accounting admin=administration|administrative agcy=agency amer=american apt=apartment|apartments
apts=apartments arch=architects|architecture assn=association assoc=associates|association assocs=associates
auth=authority auto=auto|automotive ave=avenue bldg=building bldrs=builders blvd=boulevard bros=brothers
centre=center cmty=community cnty=county co=county|company comm=community|commercial|communications|commission
const=construction constr=construction consult=consulting|consultants contr=contractors|contracting ctr=center
ctrs=centers dept=department dev=development|developers dist=district|distribution|distributors|distributing
distr=distribution|distributors|distributing div=division dr=doctor|drive ed=education edu=education
elec=electric|electrical elem=elementary eng=engineering engr=engineering env=environmental equip=equipment
fab=fabrication|fabricators fdn=foundation fed=federal fin=financial|finance finl=financial ft=fort gen=general
govt=government grp=group hosp=hospital hts=heights hwy=highway ind=industries|industrial inds=industries
indus=industries|industrial ins=insurance inst=institute intl=international inv=investments jr=junior lab=laboratory
labs=laboratories maint=maintenance mech=mechanical med=medical|medicine mfg=manufacturing mfr=manufacturer
mgmt=management mgt=management mktg=marketing mt=mount|mountain mtn=mountain mun=municipal natl=national
org=organization ortho=orthodontics|orthopedics peds=pediatrics pharm=pharmacy pkg=packaging pkwy=parkway
presby=presbyterian prod=products|productions prods=products|productions prof=professional prop=property
props=properties pt=point rd=road rec=recreation rehab=rehabilitation sch=school sci=science|sciences soc=society
soln=solution|solutions solns=solutions sq=square sr=senior st=saint|street surg=surgical|surgery svc=service|services
svcs=services sys=system|systems tech=technology|technologies telecom=telecommunications
trans=transport|transportation transp=transport|transportation twp=township univ=university util=utility|utilities
utils=utilities vet=veterinary vlg=village whse=warehouse
"""
WORDS = {short: long.split("|") for short, long in (entry.split("=") for entry in ABBREVIATIONS.split())}

SPELLINGS_AT_MOST = 32  # of one name, its abbreviations written out
INITIALS_AT_LEAST = 4  # three letters coincide too often
SMALL_WORDS = {"of", "the", "for", "in", "at", "on"}
SLIPS_IN_NAME = 2  # at most one in a word
LOST_IN_LETTERS = 7  # a letter lost, doubled or swapped: "Tile" is not "Title"
WRONG_IN_LETTERS = 10  # a wrong letter: "Andersen" is not "Anderson"
TELLING_LETTERS = 3  # that the names have in common, at least: "ABC" of "ABCSoft"
ACRONYM_LETTERS = 6  # at most
LOOSELY_SIMILAR = 0.7  # two words, at least: "Olsen" and "Olson" have something in common

# apostrophes and signs that part no words; NFKD would make letters of the trade mark
_MARKS = str.maketrans(dict.fromkeys("'\u2019\u2018`\u00b4\u2122\u00ae\u00a9"))
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})  # NFKD leaves them
_DOTTED = re.compile(r"\b[^\W\d_](?:[./] ?[^\W\d_]\b)+")
_WORD = re.compile(r"[^\W_]+")
_LEGAL_END = re.compile(f"(?: (?:{LEGAL_FORMS}))+$")


@dataclass(frozen=True)
class Candidate:
    """A ConnectWise company."""

    id: int
    name: str
    identifier: str


@dataclass(frozen=True)
class Match:
    """A company whose name matches. `ambiguous`: others match too, if only without legal form: the score is halved."""

    candidate: Candidate
    score: float
    reason: Reason
    ambiguous: bool

    @property
    def certain(self) -> bool:
        """True if it may be accepted in bulk, without a look at it."""
        return self.reason == "exact" and not self.ambiguous


class Matcher:
    """Finds names in one list of ConnectWise companies. It takes long to make, and answers fast."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._candidates = list(candidates)
        self._names = [_Name(candidate.name) for candidate in self._candidates]
        self._spelt: dict[str, list[int]] = defaultdict(list)
        self._identified: dict[str, list[int]] = defaultdict(list)
        self._abbreviated: dict[str, list[int]] = defaultdict(list)
        self._acronyms: dict[str, list[int]] = defaultdict(list)
        self._written: dict[str, dict[int, str]] = defaultdict(dict)
        for n, (candidate, name) in enumerate(zip(self._candidates, self._names, strict=True)):
            for key in name.spellings:
                self._spelt[key].append(n)
            self._identified["".join(_words(candidate.identifier))].append(n)
            for key in name.initials:
                self._abbreviated[key].append(n)
            if name.acronym:
                self._acronyms[name.acronym].append(n)
            self._written[name.first_letters][n] = " ".join(name.written_out)

    def best(self, name: str, limit: int = 3) -> list[Match]:
        """Return the companies whose names match, at most `limit`, best first; none rather than a guess."""
        wanted = _Name(name)
        if not wanted.plain:
            return []
        found = self._same(wanted) or self._identifier(wanted) or self._similar(wanted) or self._initials(wanted)
        ranked = sorted(found, key=lambda n: (-found[n][0], self._candidates[n].id))[:limit]
        share, ambiguous = (2, True) if len(found) > 1 else (1, False)
        return [Match(self._candidates[n], round(found[n][0] / share, 1), found[n][1], ambiguous) for n in ranked]

    def _same(self, wanted: "_Name") -> "_Found":
        found = {n for key in wanted.spellings for n in self._spelt.get(key, ())}
        return {n: (SCORES[reason], reason) for n in found for reason in [wanted.meets(self._names[n])]}

    def _identifier(self, wanted: "_Name") -> "_Found":
        found = {n for key in (wanted.plain, wanted.core) for n in self._identified.get(key, ())}
        return dict.fromkeys(found, (SCORES["identifier"], "identifier"))

    def _similar(self, wanted: "_Name") -> "_Found":
        written = " ".join(wanted.written_out)
        others = self._written.get(wanted.first_letters, {})  # a slip is seldom in a first letter
        near = process.extract(written, others, scorer=OSA.distance, score_cutoff=SLIPS_IN_NAME, limit=None)
        return {
            n: (SCORES["similar"] * OSA.normalized_similarity(written, other), "similar")
            for other, _, n in near
            if all(map(_same_word, wanted.written_out, self._names[n].written_out))
        }

    def _initials(self, wanted: "_Name") -> "_Found":
        found = {n for key in wanted.initials for n in self._acronyms.get(key, ())}
        found.update(self._abbreviated.get(wanted.acronym, ()))
        return dict.fromkeys(found, (SCORES["initials"], "initials"))


def nothing_in_common(name: str, other: str) -> bool:
    """Return True if the names share no word, no part of a word and no initials.

    A suggestion has to be sure that two names mean the same company; this, that they mean different ones.
    """
    one, two = _Name(name), _Name(other)
    if one.spellings & two.spellings or one.plain.isascii() != two.plain.isascii():
        return False  # of two scripts one may spell the sounds of the other
    return not (one.resembles(two) or two.resembles(one))


_Found = dict[int, tuple[float, Reason]]


class _Name:
    """A name, and its forms after each step.

    Of "The St.-Mary Inc.": `plain` "thestmaryinc", `core` "stmary", `spellings` these, "saintmary" and "streetmary",
    `written_out` ["saint", "mary"].
    """

    def __init__(self, name: str) -> None:
        self.name = name
        words = _words(name) or [name.strip()]
        self.plain = "".join(words)
        words = _without_legal_form(words)
        self.core = "".join(words)
        self.words = [word for word in words if word not in SMALL_WORDS] or words
        choices = [WORDS.get(word, [word]) for word in words]
        self.spellings = {self.plain, self.core, *map("".join, islice(product(*choices), SPELLINGS_AT_MOST))}
        self.written_out = [choice[0] for choice in choices]
        self.first_letters = "".join(word[0] for word in self.written_out)
        self.initials = _initials(words) | _initials([word for word in words if word not in SMALL_WORDS])
        capitals = {word.lower() for word in re.findall(r"[A-Z]+", name.replace(".", ""))}
        self.acronym = self.core if self.core in capitals else ""

    def meets(self, other: "_Name") -> Reason:
        """Return the first step at which these two names, which share a spelling, meet."""
        if self.name == other.name:
            return "exact"
        if self.name.lower() == other.name.lower():
            return "case"
        if self.plain == other.plain:
            return "punctuation"
        return "legal_form" if self.core == other.core else "abbreviation"

    def resembles(self, other: "_Name") -> bool:
        """Return True if this name is short for the other, or a word of it, or all of it, is like a part of that."""
        theirs = {form for word in other.words for form in (word, *WORDS.get(word, ()))}
        ours = {form for word in self.words for form in (word, *WORDS.get(word, ()))}
        initials = "".join(word[0] for word in other.words)
        return self._is_short_for(other) or any(
            word in theirs
            or (len(word) >= TELLING_LETTERS and word in other.core)
            or (len(word) > 1 and initials.startswith(word))
            or any(OSA.normalized_similarity(word, their) >= LOOSELY_SIMILAR for their in theirs)
            for word in {*ours, self.core}
        )

    def _is_short_for(self, other: "_Name") -> bool:
        """Return True if this is an acronym of letters of the other: "PWX" of "Pacific Waste Exchange"."""
        letters = iter(other.core)
        return (
            1 < len(self.acronym) <= ACRONYM_LETTERS
            and self.acronym[0] == other.core[:1]
            and all(letter in letters for letter in self.acronym)
        )


def _words(name: str) -> list[str]:
    """Return the words of a name: "J.T. Müller & Sons" → jt, muller, sons."""
    letters = unicodedata.normalize("NFKD", name.translate(_MARKS)).casefold()
    letters = "".join(char for char in letters if unicodedata.category(char) not in {"Mn", "Cf"}).translate(_LETTERS)
    letters = _DOTTED.sub(lambda dotted: re.sub(r"\W", "", dotted[0]), letters)
    return [word for word in _WORD.findall(letters) if word != "and"]


def _without_legal_form(words: list[str]) -> list[str]:
    if len(words) > 1 and words[0] == "the":
        words = words[1:]
    return _LEGAL_END.sub("", " ".join(words)).split()


def _initials(words: Sequence[str]) -> set[str]:
    return {"".join(word[0] for word in words)} if len(words) >= INITIALS_AT_LEAST else set()


def _same_word(word: str, other: str) -> bool:
    """Return True if the words are equal, or differ by one slip in a word so long that it makes no other word."""
    if word == other:
        return True
    if not (word.isalpha() and other.isalpha()) or OSA.distance(word, other) > 1:  # another number, another company
        return False
    wrong_letter = len(word) == len(other) and sorted(word) != sorted(other)
    return max(len(word), len(other)) >= (WRONG_IN_LETTERS if wrong_letter else LOST_IN_LETTERS)
