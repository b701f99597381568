"""Predict whether a migration will converge, and how long the migration will take."""
