"""What every part of the library uses: errors, environment, processes, atomic writes."""
