"""What the project asks of the Prefect server: deployments, work pools, automations, and signs of life."""
