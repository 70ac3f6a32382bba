/** The condition of a put that creates, and never replaces. One for all puts: it is read only. */
export const createOnly = new Headers({ "If-None-Match": "*" });
