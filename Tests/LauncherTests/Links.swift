import Testing
@Test func `Launcher links`() {}
