"""HL7 v2, versions 2.3 to 2.8: `framing` finds the messages of a body, `message` splits one, `extract` reads its records."""
