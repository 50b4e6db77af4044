"""How DVC and the stages run below a flow: as child processes that end cleanly, and say why they failed."""
