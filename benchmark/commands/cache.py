import typer


def add(app: typer.Typer) -> None:
    pass
