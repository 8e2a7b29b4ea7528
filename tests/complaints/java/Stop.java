/** A server whose shutdown hooks go wrong. The stop request is its own. */
public class Stop {
    static void close() {
        throw new IllegalStateException("pool closed");
    }

    static void logged() {
        try {
            close();
        } catch (IllegalStateException problem) {
            problem.printStackTrace();
        }
    }

    public static void main(String[] arguments) {
        Runtime.getRuntime().addShutdownHook(new Thread(arguments[0].equals("logged") ? Stop::logged : Stop::close));
        System.exit(0);
    }
}
