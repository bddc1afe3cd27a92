"""tentaculo_link: the only port of a host. HAProxy, with a configuration that is rendered here."""
