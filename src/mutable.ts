/** What is made field by field, and read-only once it has been given away. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] };
