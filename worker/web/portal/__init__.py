"""The portal plays the Phin side: it changes things by events only, and shows the read model of the store."""
