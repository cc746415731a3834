//! What a message bus is to Polybus: names, messages, capabilities, errors and the Transport trait.
