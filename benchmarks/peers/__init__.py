"""What rnnflow is measured against: each module does one peer's work and is run in a process of its own."""
