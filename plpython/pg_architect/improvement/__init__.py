"""The improvement cycle: observe, explain, propose, gate, approve, deploy, measure, keep or revert, record."""
