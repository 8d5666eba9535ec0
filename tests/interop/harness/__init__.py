"""What every case stands on: processes, ports, sample data, and the list of cases."""
