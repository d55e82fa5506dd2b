"""Docking: bays, transports, camera profiles, the offload session, the fleet."""
