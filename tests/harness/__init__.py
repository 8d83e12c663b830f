"""Processes, networks and disks of clusters that tests start on this machine."""
