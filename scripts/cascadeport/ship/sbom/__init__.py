"""What a frozen image is made of, as SPDX 2.3 and as CycloneDX 1.5."""
