"""`python -m simclr_keras.export.client_command`, also `simclr-client`."""

import itertools
import os
import pathlib
import re
import sys
import tempfile

from simclr_keras.data import image_files
from simclr_keras.export import client
from simclr_keras.export import client_errors
from simclr_keras.export import client_output
from simclr_keras.flags import client_cli

_SHOWN = 20


def main(argv=None):
    """Asks the server; exits with 2 on a mistake, with 1 on a failure."""
    values = client_cli.parse(argv)
    # The protos import TensorFlow, which has much to say.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    paths = _paths(values["images"])
    first = next(paths, None)
    if first is None:
        client_cli.refuse("--images: there are no images")
    tally = _Tally()
    try:
        with _client(values) as asked:
            answers = asked.stream_files(itertools.chain([first], paths))
            _write(tally.of(answers), values["output"], values["format"])
    except ValueError as error:
        client_cli.refuse(_as_flags(error))
    except (client_errors.ServingError, ImportError, OSError) as error:
        client_cli.fail(_failure(error, tally))
    except KeyboardInterrupt:
        client_cli.fail("stopped")
    print(tally.summary(values["output"]), file=sys.stderr)


def cli():
    """Entry point of the console script."""
    main()


def _client(values):
    return client.Client(
        values["server"],
        model=values["model"],
        version=values["version"],
        batch_size=values["batch_size"],
        timeout=values["timeout"],
        retries=values["retries"],
    )


def _paths(images):
    """Paths of files; missing ones, too, which the answer tells of."""
    for path in images:
        if path == "-":
            for line in sys.stdin:
                yield line.rstrip("\n")
        elif os.path.isdir(path):
            yield from _images(path)
        else:
            yield os.path.expanduser(path)


def _images(folder):
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(names):
            extension = os.path.splitext(name)[1].lower()
            if name[0] != "." and image_files.is_name(extension):
                yield os.path.join(parent, name)


class _Tally:
    """What passed by: how many good images, and which bad ones."""

    def __init__(self):
        self.good, self.bad = 0, []

    def of(self, batches):
        """The batches themselves."""
        for batch in batches:
            pairs = zip(batch["path"], batch["error"], strict=True)
            found = [(path, error) for path, error in pairs if error]
            yield batch
            self.bad += found
            self.good += len(batch["path"]) - len(found)

    def summary(self, output):
        """What to say at the end."""
        where = f" in {output}" if output else ""
        lines = [f"{self.good:,} images answered{where}"]
        if self.bad:
            lines.append(f"{len(self.bad):,} not valid:")
        lines += [f"  {path}: {error}" for path, error in self.bad[:_SHOWN]]
        if len(self.bad) > _SHOWN:
            lines.append(f"  and {len(self.bad) - _SHOWN:,} more")
        return "\n".join(lines)


def _write(batches, output, form):
    if output is None:
        if form == "npz" and sys.stdout.isatty():
            raise ValueError(
                "--format=npz is not for a terminal; give --output"
            )
        client_output.write(batches, sys.stdout.buffer, form)
        return
    output = pathlib.Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        prefix=f".{output.name}-", dir=output.parent
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            client_output.write(batches, file, form)
        # mkstemp's files cannot be read by others.
        os.chmod(name, 0o644)
        os.replace(name, output)
    except BaseException:
        os.unlink(name)
        raise


def _failure(error, tally):
    if isinstance(error, BrokenPipeError):
        # As after `| head`; nothing shall be said at the process's end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "nobody reads the answers any more"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    done = tally.good + len(tally.bad)
    return _as_flags(error) + (f" ({done:,} images are done)" if done else "")


def _as_flags(error):
    """Arguments of `Client` as the flags they come from."""
    text = str(error).replace("`address`", "`server`")
    return re.sub(r"`(batch_size|server|timeout)`", r"--\1", text)


if __name__ == "__main__":
    main()
