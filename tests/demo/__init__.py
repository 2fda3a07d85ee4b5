"""The main job shown on one machine: who reaches whom without the rule, and with it."""
