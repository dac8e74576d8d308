"""`simclr-report`, also `python -m simclr_keras.report`: pages about runs."""

import argparse

from simclr_keras import report
from simclr_keras.report import documents

_COMPARISON = "comparison.html"


def main(argv=None):
    """Writes what the command line asks for; exits with 2 on a mistake."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if bool(arguments.runs) == bool(arguments.update):
        parser.error("name one or more runs, or documents to --update")
    try:
        for document in arguments.update or ():
            documents.update(document)
        if arguments.runs:
            print(_answer(arguments))
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def cli():
    """Entry point of the console script."""
    main()


def _parser():
    parser = argparse.ArgumentParser(
        "simclr-report",
        description="A page about one run, or about several side by side.",
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="the --model_dir of a run"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--output",
        metavar="FILE",
        help="the page to write; by default report.html in the folder of the "
        f"run, or {_COMPARISON} here for several",
    )
    kind.add_argument(
        "--markdown",
        action="store_true",
        help="print the table of results in Markdown instead",
    )
    kind.add_argument(
        "--update",
        metavar="DOCUMENT",
        nargs="+",
        help="write the tables of Markdown documents anew, from the results "
        "of the runs that they name: <!-- results of RUN --> begins one, "
        "<!-- end of results --> ends it",
    )
    return parser


def _answer(arguments):
    if arguments.markdown:
        return report.markdown(arguments.runs)
    if len(arguments.runs) == 1:
        return report.write(arguments.runs[0], arguments.output)
    output = arguments.output or _COMPARISON
    report.compare(arguments.runs, output)
    return output


if __name__ == "__main__":
    cli()
