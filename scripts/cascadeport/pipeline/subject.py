"""What a pass was about: written into its record, so that its row can be computed from it alone."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from cascadeport.config.gate import Gate
from cascadeport.config.targets import Semantics
from cascadeport.core.plan import Variant, row_name, row_title


class Subject(BaseModel):
    """What a pass was about, as known once it is over.

    Args:
        target: The target's name in targets.toml.
        semantics: What the user chose instead of the target's own.
        variant: How the pass differs from the target's usual one.
        frame: The shapes and sizes of the pictures that the user asked for instead of the card's.
        model: The card's name.
        seed: Of random weights.
        model_digest: The digest of the checkpoint that was exported, else of the card's graph; of
            random weights, of what they are drawn from.
        checkpoint_sha256: The checkpoint's, where the network was made from one.
        dataset_digest: The data set's, when the pass began.
        pictures: How many pictures the data set has.
        pictures_digest: The joint digest of the pictures as the pass read them.
        changes: What the lowering changed in the model's meaning, in sentences.
        gate: What was declared to be good enough, before the pass began.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    target: str
    semantics: Semantics
    variant: Variant = Variant()
    frame: str = ""
    model: str
    seed: int | None = None
    model_digest: str
    checkpoint_sha256: str | None = None
    dataset_digest: str
    pictures: int
    pictures_digest: str = ""
    changes: tuple[str, ...] = ()
    gate: Gate | None = None

    @property
    def row(self) -> str:
        """The name of the result's folder."""
        return row_name(self.target, self.semantics, self.variant)

    def title(self, target_title: str) -> str:
        """How tables name the result of a target with this title."""
        return row_title(target_title, self.semantics, self.seed, self.variant)
