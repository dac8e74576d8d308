.PHONY: install browser test test-slow lint format tables train

install:
	pip install -e ".[test]"

# For the test that opens a report; pip brings none.
browser:
	command -v chromium || (apt-get update && apt-get install -y chromium)

test:
	pytest

test-slow:
	pytest -m slow

lint:
	ruff check .
	ruff format --check .

format:
	ruff check --fix .
	ruff format .

tables:
	python -m simclr_keras.report --update README.md docs/results.md

train:
	python train.py
