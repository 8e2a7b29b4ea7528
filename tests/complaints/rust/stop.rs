//! A server whose shutdown panics, in a worker and then in the main thread.

fn main() {
    let worker = std::thread::Builder::new().name("worker".into());
    let ended = worker.spawn(|| None::<u32>.expect("a job to finish")).unwrap().join();
    ended.unwrap();
}
