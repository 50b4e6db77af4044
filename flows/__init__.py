"""When and where the stages run: Prefect. Nothing here imports torch."""
