"""What is versioned: one module for each stage of dvc.yaml."""
