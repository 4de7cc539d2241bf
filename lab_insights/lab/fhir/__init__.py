"""FHIR R4: `document` reads a resource or Bundle and its release, `extract` its records; other releases are told apart and not read."""
