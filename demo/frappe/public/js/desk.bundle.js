/* The demo desk has no client side; this file exists so that there is something to build. */
