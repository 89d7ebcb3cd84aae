"""Importers: one module per source of networks, each giving a `fiberloom.workload.network.Network`."""
