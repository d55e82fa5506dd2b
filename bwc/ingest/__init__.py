"""The one way in for every file, whatever brings it: intake, media facts, derivatives, quarantine."""
