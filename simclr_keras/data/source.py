"""What a data set is once it is opened, and the lines that say so."""

import dataclasses

import numpy as np

from simclr_keras.data import contents
from simclr_keras.data import splits

# Part of each class that is put aside where a set has no test split.
HOLD_OUT_SHARE = 0.2

# Names of splits, the best first.
UNLABELLED_NAMES = ("unlabelled", "unlabeled", "unsupervised")
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "validation", "valid", "val")

_NAMES_SHOWN = 10
_SKIPPED_SHOWN = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """An opened data set.

    Attributes:
        name: as the user gave it.
        origin: where it was found, in words.
        pretrain: the images to pretrain on, with or without labels.
        train: labelled images to train a classifier on, or None.
        test: labelled images to test it on, or None.
        num_classes: K, or None without labels.
        class_names: tuple of K str, or None.
        image_size: the median of the shorter sides, in pixels; None where it
            is not known before the images are read.
        sizes: the sizes in words.
        fingerprint: short hash; other images or labels give another one.
        notes: what was decided or left out, one sentence each.
        skipped: (path, reason) of each image file that cannot be used.
        num_duplicates: pretraining images that are copies of another one, bit
            for bit; None if that is not known.
        num_leaked: test images with a copy among those that are trained on;
            None if that is not known.
        named: dict from names to the splits as they were found, nothing put
            aside; None unless the whole was asked for.
    """

    name: str
    origin: str
    pretrain: splits.Split
    train: splits.Split | None
    test: splits.Split | None
    num_classes: int | None
    class_names: tuple[str, ...] | None
    image_size: int | None
    sizes: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    num_duplicates: int | None = None
    num_leaked: int | None = None
    named: dict[str, splits.Split] | None = None

    @property
    def smallest_class(self):
        """Images of the rarest class in `train`; None if not known.

        Labels of a TensorFlow data set are known once it has been read.
        """
        if self.train is None or self.train.known_labels is None:
            return None
        _, counts = np.unique(self.train.known_labels, return_counts=True)
        return int(counts.min())


def describe(source):
    """What was found, as the lines that a run prints.

    Returns:
        str without a newline at its end.
    """
    held = "held in memory" if source.pretrain.in_memory else "streamed"
    images = count(source.pretrain.num_examples, "image")
    lines = [
        f"{source.name}: {source.origin}",
        f"  pretraining: {images}, {source.sizes}, {held}",
        f"  classes: {_classes(source)}",
    ]
    if source.train is not None:
        lines.append(f"  evaluation: {_evaluation(source)}")
    notes = (*source.notes, *_copies(source))
    lines += [f"  note: {note}" for note in notes]
    if source.skipped:
        lines.append(
            f"  skipped: {count(len(source.skipped), 'image file')} "
            "that cannot be used"
        )
    for path, reason in source.skipped[:_SKIPPED_SHOWN]:
        lines.append(f"    {path}: {reason}")
    if len(source.skipped) > _SKIPPED_SHOWN:
        lines.append(f"    and {len(source.skipped) - _SKIPPED_SHOWN} more")
    return "\n".join(lines)


def _copies(source):
    if source.num_duplicates:
        yield (
            f"{source.num_duplicates:,} of the images to pretrain on are "
            "copies of others, which are pushed apart where two share a batch; "
            "delete them"
        )
    if source.num_leaked:
        yield (
            f"{source.num_leaked:,} of the images to test on are also trained "
            "on, which makes accuracy look better than it is; take them out of "
            "one of the two"
        )


def _evaluation(source):
    train = count(source.train.num_examples, "labelled image")
    if source.test is None:
        return f"{train}, no test split"
    return f"{train} to train on, {source.test.num_examples:,} to test on"


def _classes(source):
    if source.num_classes is None:
        return "no labels"
    if source.class_names is None:
        return str(source.num_classes)
    shown = ", ".join(source.class_names[:_NAMES_SHOWN])
    more = ", ..." if source.num_classes > _NAMES_SHOWN else ""
    return f"{source.num_classes} ({shown}{more})"


def by(height, width):
    """A size in words; width first, as cameras and file managers do."""
    return f"{width} x {height}"


def count(number, noun):
    """A number of things in words."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def check_split(argument, value, available):
    """Raises ValueError unless `value` is None or one of `available`."""
    if value is not None and value not in available:
        names = ", ".join(f'"{name}"' for name in available)
        raise ValueError(
            f"`{argument}` must be one of {names}. "
            f'Received: {argument}="{value}"'
        )


def split_names(available, is_labelled, train_split=None, eval_split=None):
    """The splits to pretrain on, to train a classifier on and to test it on.

    Pretraining takes an unlabelled split if there is one, else the train
    split. A classifier is trained on the same images if they have labels,
    else on the train split; it is tested on the test split, or, if that is
    absent or has no labels, on the validation split.

    Args:
        available: the names of the splits.
        is_labelled: function from a name to whether its images have labels.
        train_split, eval_split: names that were asked for, or None.

    Returns:
        (pretrain, train, test): str, str or None, str or None.

    Raises:
        ValueError: if a split that was asked for cannot be used.
    """
    pretrain = train_split or next(
        (
            name
            for name in (*UNLABELLED_NAMES, *TRAIN_NAMES)
            if name in available
        ),
        None,
    )
    if pretrain is None:
        raise ValueError(
            "`train_split` must be given, since no split is named "
            f'"train". Received: splits {", ".join(available)}'
        )

    def labelled(preferred, without=()):
        for name in preferred:
            if name in available and name not in without and is_labelled(name):
                return name
        return None

    train = pretrain if is_labelled(pretrain) else labelled(TRAIN_NAMES)
    if eval_split is None:
        test = train and labelled(TEST_NAMES, without=(pretrain, train))
        return pretrain, train, test
    if train is None or not is_labelled(eval_split):
        unlabelled = pretrain if train is None else eval_split
        raise ValueError(
            "`eval_split` needs labels to train on and labels to test on. "
            f'Received: eval_split="{eval_split}", but "{unlabelled}" has no '
            "labels"
        )
    if eval_split in (pretrain, train):
        raise ValueError(
            "`eval_split` must not be what is trained on. "
            f'Received: eval_split="{eval_split}"'
        )
    return pretrain, train, eval_split


def assemble(named, *, train_split=None, eval_split=None, seed=0, whole=False):
    """Chooses splits, and puts a fifth of each class aside to test on where
    there is no labelled test split.

    Args:
        named: dict from names to splits that have `subset`.
        train_split, eval_split: as for `split_names`.
        seed: int, of what is put aside.
        whole: bool, as for `open_source`.

    Returns:
        dict of the fields of a `Source` that follow from the choice, and of
        `names`: those of the splits that are used.
    """
    if whole:
        return {**whole_fields(named), "names": tuple(named)}
    check_split("train_split", train_split, named)
    check_split("eval_split", eval_split, named)
    names = split_names(
        named, lambda name: named[name].has_labels, train_split, eval_split
    )
    pretrain, train, test = (name and named[name] for name in names)
    notes = ()
    if train is not None and test is None:
        rest, test, note = _put_aside(train, seed)
        pretrain = rest if pretrain is train else pretrain
        train, notes = rest, (note,)
    train, test = train and _labelled(train), test and _labelled(test)
    return {
        "pretrain": pretrain,
        "train": train,
        "test": test,
        "notes": notes,
        "num_duplicates": contents.num_duplicates(pretrain),
        "num_leaked": contents.num_leaked(test, pretrain, train),
        "names": tuple(name for name in dict.fromkeys(names) if name),
    }


def whole_fields(named):
    """Fields of a `Source` that is read rather than trained on."""
    labelled = [split for split in named.values() if split.has_labels]
    return {
        "pretrain": next(iter(named.values())),
        "train": labelled[0] if labelled else None,
        "test": None,
        "named": named,
        "notes": (),
    }


def _put_aside(split, seed):
    """(the rest, what is put aside or None, a note)."""
    held = hold_out(split.labels, seed)
    if not held.any():
        return split, None, "no test split, and one image in each class"
    note = (
        f"no test split: {HOLD_OUT_SHARE:.0%} of each class, chosen by seed "
        f"{seed}, is put aside and not trained on"
    )
    rest, aside = np.flatnonzero(~held), np.flatnonzero(held)
    return split.subset(rest), split.subset(aside), note


def hold_out(labels, seed):
    """Marks a fifth of each class, at least one image of two: [N] bool.

    Args:
        labels: [N] int64; images with -1 are never marked.
        seed: int.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        count = max(round(HOLD_OUT_SHARE * len(members)), len(members) > 1)
        held[rng.permutation(members)[:count]] = True
    return held


def _labelled(split):
    if (split.labels >= 0).all():
        return split
    return split.subset(np.flatnonzero(split.labels >= 0))
