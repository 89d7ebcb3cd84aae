"""ArchGym's DRAM controller: ten parameters, a small event-driven model of our own, and traces."""
