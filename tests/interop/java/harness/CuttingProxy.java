package interop;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** A TCP proxy between a client and the broker that can cut every connection through it. */
final class CuttingProxy implements AutoCloseable {
    private final String host;
    private final int port;
    private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
    private final List<Socket> open = new CopyOnWriteArrayList<>();

    CuttingProxy(String host, int port) throws IOException {
        this.host = host;
        this.port = port;
        inBackground(this::accept);
    }

    int port() {
        return listener.getLocalPort();
    }

    /** Both sides of every connection are reset; new ones are taken as before. */
    void cut() throws IOException {
        for (Socket socket : open) {
            open.remove(socket);
            try {
                socket.setSoLinger(true, 0);
            } catch (SocketException alreadyClosed) {
                continue;
            }
            socket.close();
        }
    }

    @Override
    public void close() throws IOException {
        listener.close();
        cut();
    }

    private static void inBackground(Runnable work) {
        Thread thread = new Thread(work, "cutting-proxy");
        thread.setDaemon(true);
        thread.start();
    }

    private void accept() {
        try {
            while (true) {
                Socket client = listener.accept();
                open.add(client);
                Socket broker = new Socket(host, port);
                open.add(broker);
                inBackground(() -> pump(client, broker));
                inBackground(() -> pump(broker, client));
            }
        } catch (IOException closed) {
            // The case is over.
        }
    }

    private void pump(Socket from, Socket to) {
        byte[] buffer = new byte[64 * 1024];
        try (from; to; InputStream input = from.getInputStream(); OutputStream output = to.getOutputStream()) {
            for (int count = input.read(buffer); count >= 0; count = input.read(buffer)) {
                output.write(buffer, 0, count);
            }
        } catch (IOException cut) {
            // Either side is gone, and so is the other.
        }
        open.remove(from);
        open.remove(to);
    }
}
