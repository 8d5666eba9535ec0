//! A virtual network, disk and clock around `samara-proto`: development only.
