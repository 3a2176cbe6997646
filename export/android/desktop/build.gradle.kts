plugins {
    application
}

dependencies {
    implementation(project(":core"))
}

application {
    mainClass = "tledge.desktop.Main"
}

tasks.withType<JavaCompile>().configureEach {
    options.release = 11
}
