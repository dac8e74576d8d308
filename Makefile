.PHONY: install test test-slow lint format train

install:
	pip install -e ".[test]"

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

train:
	python train.py
